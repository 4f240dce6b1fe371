// Command realawa proves awa-counterd with awa itself: published releases, old and new, in one database,
// through the rolling upgrade as an operator does it, while the daemon is killed again and again.
//
// A cell is a pair of releases, who leads, and whether the ring turns. It is tried twice, with the same
// seed and schedule: as a control without us, which must end wrong, and with us. What holds:
//
//   - The oracle is a scan. Rows, counters and pending ledger rows of every group come from one statement,
//     and so from one snapshot; nothing the daemon says about itself enters a verdict.
//   - Uncounted writes are read from a replication slot of the test's own: rows of a transaction that has no
//     ledger row for them. Neither the workers nor the daemon are asked.
//   - A drift is held against the daemon only if no uncounted writes younger than the bound explain it, look
//     after look, while the marker was set and the daemon alive. A crash window ends when the daemon that
//     came back sets the marker.
//   - Both trials carry the same load of looks, and the errors of awa's workers are taken from the server's
//     log of both, so that neither awa is blamed for us nor we for awa.
//   - What doctor and status say on the way is judged: awa's tables alone are missing before the migration, queues that old workers write
//     are named as long as one is there, and then finish is said to be safe. finish may be run again only for what awa's new leader did.
//   - Whether a failed prune waited for the daemon, the server's log tells, which has the time of each statement of the daemon's: looks are
//     too rare for 10 ms. In paired runs of errors looks alone tell: a log costs time in one half.
//   - A ring that is to turn may stand only where the same error of awa's goes on to the end, and comes without us as well.
//   - A trial that is finished is a file and is not repeated; one that was broken off leaves none.
//
// It spells awa's names by itself: a wrong name in the product must not hide here.
package main
