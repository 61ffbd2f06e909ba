//go:build race

package agent

// largeBody is smaller where every byte costs ten times as much.
const largeBody = 4 << 20
