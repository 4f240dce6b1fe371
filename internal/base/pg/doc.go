// Package pg opens connections that behave the same whatever a role or a database has configured,
// and sorts PostgreSQL's errors by what a caller decides from them: wait and try again, or refuse.
//
// Invariants:
//   - Every connection is READ COMMITTED. The fenced scan and the corrections are wrong under any other
//     isolation (docs/design.md §4, §11), and a role may have another default.
//   - Every connection has its own timeouts, so that none of the role's can cut a statement short or
//     leave one waiting for ever.
//   - No connection with a statement timeout waits for an answer for longer than that and AnswerWithin, by this process's own clock: a server that is
//     stopped hears of no timeout.
//   - A table whose policies would show us a part of its rows is an error, never a smaller table.
//   - No password ever gets into an error or a log line.
package pg
