package netapply

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// maxLinkName is what the kernel allows: IFNAMSIZ less the closing zero.
const maxLinkName = 15

// fitName returns the readable name if the kernel can take it, and otherwise a
// name made from a hash of the parts, which are what the name stands for.
//
// Readable names cannot clash: they begin with an alias, whose name has no
// hyphen, or with "vrf", which is no alias; hashed ones begin with "nq".
func fitName(readable string, parts ...string) string {
	if len(readable) <= maxLinkName && !strings.ContainsFunc(readable, unfit) {
		return readable
	}
	return hashName(parts...)
}

func hashName(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return "nq-" + hex.EncodeToString(sum[:6])
}

// unfit reports characters that the kernel or its sysctl tree do not take in
// the name of a link.
func unfit(r rune) bool {
	return r <= ' ' || r >= 0x7f || r == '/' || r == ':' || r == '%'
}
