// Command release makes what is published of a version, in one folder: for each platform an archive with the binary, the man page,
// completions, the systemd unit and the licences of all that is in the binary; beside it a bill of materials (CycloneDX); and the
// checksums of all of these.
//
// Invariants: the same commit and the same Go make the same bytes, whoever builds it, where and when: no path, no time of day, no
// user, and nothing of the environment gets in; what the bill lists is read out of the binary itself. Nothing is fetched but Go
// modules.
package main
