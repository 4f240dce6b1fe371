// Package oci builds the image that deploy/Dockerfile describes without a container engine, as an OCI archive, and unpacks
// such an archive again, so that a test can run what is in it.
//
// Invariants: it follows the Dockerfile, and refuses what it does not understand there instead of leaving it out; the same
// input gives the same bytes; unpacking believes no digest that it has not counted itself.
package oci
