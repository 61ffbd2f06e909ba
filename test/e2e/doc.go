// Package e2e has no code. Its tests drive the real binary in labs of network
// namespaces.
//
// Those named TestLab run on this machine's kernel and need root. Those named
// TestVM need a kernel with bonding, VLANs and VRFs, which test/vm/vm-exec has;
// NQ_BIN names a directory with a netquorum that is built already, because
// compiling in an emulated machine takes for ever.
//
// NQ_CUTS is how often TestLabManagementMovedThroughPowerCuts cuts the power,
// 12 times when not set; NQ_SEED makes it cut at the same instants again, and
// those that kill daemons under messages kill at the same ones. NQ_MESSAGES_LONG
// has the tests of messages last about a minute each.
package e2e
