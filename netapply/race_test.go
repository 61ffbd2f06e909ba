//go:build race

package netapply_test

// The race detector makes a walk ten times slower and finds nothing in it: one
// goroutine walks. `make test` takes the whole walk without it.
const walkDefault = 1500
