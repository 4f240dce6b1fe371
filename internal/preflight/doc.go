// Package preflight has the one table of what the daemon requires of a server, a role, awa's tables and the schema awa_counterd
// (requirements): what is looked at, what it means, and what mends it. Start-up refuses by it, doctor reports it, setup plans
// from it.
//
// Invariants:
//   - A rule stands once. Who asks (Server and Tables, Doctor, Plan) chooses among the requirements and puts the same findings
//     into its own words; none of them has a condition of its own.
//   - Looking only reads. It asks the catalog, so that nothing has to be tried out on awa's tables.
//   - What is looked at is what the daemon's role may do, whoever looks.
//   - What the one who looks may not see is reported as such, and never taken for good or bad news.
//   - Plans are statements; what is there already has none.
package preflight
