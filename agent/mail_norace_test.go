//go:build !race

package agent

const largeBody = 64 << 20
