// Package provision creates and removes what awa-counterd has in a database: the schema awa_counterd, the
// publication, the replication slot, and the grants of the daemon's role.
//
// Invariants:
//   - What there is to make and to grant is planned by preflight, by the same table that start-up refuses by and doctor reports.
//   - Plans are statements: what is carried out is what --print-sql prints.
//   - Idempotent: what is there already, or gone already, has no statement in the plan.
//   - What setup grants on it is remembered in that schema, and a teardown revokes that and nothing else.
//   - What others have made, or read, stays: it is named, with what removes it.
//   - Nothing of awa's is changed but grants on it, and at a teardown the trust marker, which
//     nobody vouches for any more.
package provision
