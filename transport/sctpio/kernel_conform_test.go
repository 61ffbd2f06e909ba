package sctpio

import (
	"testing"

	"github.com/netquorum/netquorum/transport/link/linktest"
)

// TestKernelLink is the conformance suite of links over associations.
func TestKernelLink(t *testing.T) {
	if !inNamespaces(t) {
		return
	}
	linktest.Conform(t, kind(t))
}
