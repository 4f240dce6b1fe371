// Package proxy is a network that breaks on demand: a TCP proxy on the loopback interface, between the
// daemon and the server. It cuts, falls silent, trickles, and resets in the middle of a message.
//
// Invariants: bytes that it forwards are forwarded in order and unchanged; after Close nothing is left.
package proxy
