// Package check decodes the files for Kubernetes and Compose with the types and schemas of those projects, strictly: a field
// that is misspelt or stands in the wrong place is an error, and not silently left out. It is a module of its own, so that
// nothing of this is among what the product depends on.
//
// Invariants: it asks no cluster, no engine and no network.
package check
