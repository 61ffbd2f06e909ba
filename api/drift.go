package api

import "time"

// A Drift is an object of ours in a filer's kernel that somebody else changed
// lately. It was put right, unless it is being fought for.
type Drift struct {
	Object string    `json:"object"`
	Times  int       `json:"times"` // put right
	Since  time.Time `json:"since"`
	Last   time.Time `json:"last"`
	// Next is set when it was changed so often that the filer lets it be until
	// then.
	Next *time.Time `json:"next,omitempty"`
}
