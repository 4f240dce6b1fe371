package mutants

// FoundByWorlds says which of the small worlds finds a mutant (docs/testing.md). The worlds leave nothing to luck: what is
// found once is found every time.
func FoundByWorlds() map[string]string {
	return map[string]string{
		"fence off":                                              "start",
		"journal off":                                            "start",
		"gaps in the journal overlooked":                         "start with a small journal",
		"token off":                                              "one after the other",
		"token 0 taken for an answer":                            "lost answers",
		"TRUNCATE ignored by the books":                          "a leader that counts",
		"TRUNCATE ignored by the decoder":                        "a leader that counts",
		"own writes counted as uncounted":                        "one after the other",
		"in-band writes counted again":                           "start with one counter row",
		"transactions that come again counted again":             "a crash",
		"acknowledged before persisted":                          "a crash",
		"negative correction creates a row":                      "a prune with one counter row",
		"marker kept on lag":                                     "uncounted",
		"unfinished business at the end":                         "a stop",
		"Relation by ordinal":                                    "start",
		"subtransaction rollback counted":                        "start",
		"resume after someone moved the slot":                    "a slot that is moved",
		"counters run ahead of their rows":                       "uncounted",
		"pending kept on its TRUNCATE":                           "a fold",
		"TRUNCATE of the ledger ignored by the decoder":          "a fold",
		"absolute bucket value added":                            "one after the other",
		"buckets taken for one":                                  "a fold",
		"a new leader's prune kept as an old one's":              "a leader that counts",
		"one T of two leaves taken for two":                      "a leader that counts",
		"a fleet's clamps taken for old binaries, by the daemon": "a migration",
		"corrections of two signs in one statement":              "two slots",
	}
}
