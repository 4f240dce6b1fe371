// Package wheels keeps awa's published releases, each in a virtual environment of its own.
//
// An environment that is there is whole: one that could not be finished is removed.
package wheels
