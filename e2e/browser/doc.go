// Package browser drives a headless Chromium over its debugging pipe: opens pages, presses keys, reads what is shown, takes pictures.
//
// Invariants: nothing of the browser's outlives Close, neither a process nor its profile; whatever a page could not load, or its
// scripts complained of, is kept and told (Page.Complaints).
package browser
