package main

import (
	"fmt"

	"github.com/vishvananda/netlink"
)

// loopbackUp switches on the one interface of a new namespace.
func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	return netlink.LinkSetUp(lo)
}
