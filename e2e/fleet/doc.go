// Package fleet imitates awa against a real database: the tables of change #306, and the
// transactions that pre-#290 (uncounted) and post-#290 (counted) binaries, pruners and operators run
// on them.
//
// It spells awa's names by itself instead of asking internal/awa: it is what the product is tested
// against, and a wrong name there must not hide here.
package fleet
