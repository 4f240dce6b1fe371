// Package awa is the only place that knows awa's tables and columns: their names, the shapes they
// come in, and the SQL over them (docs/design.md §9, §12).
//
// Invariants:
//   - The shape is found from the catalog, never from a version number. What is not recognised is
//     refused by name.
//   - Every identifier that reaches SQL is a fixed name of awa's, a schema that ParseSchema let through, or
//     the quoted name of a leaf; values are always parameters.
//   - Statements here never take a lock that makes awa wait for more than a counter row.
package awa
