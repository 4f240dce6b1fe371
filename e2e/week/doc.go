// Command week runs a week of life in an hour (make week): days with a fleet at work and bursts of many times its mean, nights in which
// nobody writes, and what happens in a week: the server is restarted for a minor upgrade, passwords change, somebody drops the
// publication, all connections are cut, a leaf is added, a standby is promoted in the server's place, logs are rotated. A leader and
// a standby live through it, with the flags that they have by default, as far as these can go with the time.
//
// Invariants: every judgement is made of what was seen from outside: the processes' memory, goroutines and files, the server's
// connections, WAL and tables, and every byte that was logged. Nights are compared with nights, when nothing is under way: the third
// with the last. What is broken is told all together at the end, and the exit code is 1.
package main
