// Package handbook reads the project's Markdown, for the tests that hold it against the code: its links, the
// commands and flags that it names, the messages that it explains, and the commands that it says to type.
//
// Invariants: reads only; knows nothing of what the pages say.
package handbook
