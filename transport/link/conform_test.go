package link_test

import (
	"testing"

	"github.com/netquorum/netquorum/transport/link/linktest"
)

func TestMemory(t *testing.T) { linktest.Conform(t, linktest.Mem) }

func TestTCP(t *testing.T) { linktest.Conform(t, linktest.TCP) }
