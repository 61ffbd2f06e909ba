//go:build !race

package netapply_test

const walkDefault = 10000
