// Command majors runs the whole e2e suite and the short chaos run on each supported major version of
// PostgreSQL, one after the other, and writes what came of it into docs/reports/postgres.md (`make matrix`).
// A major that was all green is kept (tmp/majors) and not run again unless asked, and so is a green suite whose chaos
// run was broken off, as long as the commit is the same: it goes on where it was broken off. A major that cannot be tried
// keeps none of the others from it. What is reported was counted from go test's own events; a run of a part says so.
package main
