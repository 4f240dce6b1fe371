// Package fleet imitates awa against a real database: its tables in every shape that the counter has
// had, and the transactions that pre-#290 (uncounted) and post-#290 (counted) binaries, leaders and
// operators run on them.
//
// It spells awa's names by itself instead of asking internal/awa: it is what the product is tested
// against, and a wrong name there must not hide here. TestCatalogs compares its tables with those that
// published releases of awa make.
package fleet
