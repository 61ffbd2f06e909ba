package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/netquorum/netquorum/api"
)

// driftText says how often somebody else changed an object.
func driftText(d api.Drift, now time.Time) string {
	text := fmt.Sprintf("%s, first %s, last %s", count(d.Times, "time"), ago(&d.Since, now), ago(&d.Last, now))
	if d.Next != nil {
		text = "somebody else keeps changing it, put right " + text + "; stop the other one"
	}
	return text
}

// reported tells whether an object is among the errors already.
func reported(errors []api.ObjectError, object string) bool {
	return slices.ContainsFunc(errors, func(e api.ObjectError) bool { return e.Object == object })
}
