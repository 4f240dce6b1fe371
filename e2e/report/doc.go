// Package report says where the figures of a report come from: which commit, which server, which machine.
package report
