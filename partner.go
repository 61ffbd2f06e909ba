package netquorum

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// maxPartnerEndpoints bounds how many places of a partner are tried.
const maxPartnerEndpoints = 16

// A Partner is another cluster that this one exchanges streams with, for
// mirroring. The two recognise each other by a secret, whatever their addresses
// are; see `netquorum partner secret`.
type Partner struct {
	// Endpoints are where the partner's filers listen, as host or host:port.
	// Without any, the partner calls and is not called.
	Endpoints []string `json:"endpoints,omitempty"`
	// ClusterID is the id that the partner must have, as `netquorum partner`
	// shows it there. Without one, whoever knows the secret is the partner.
	ClusterID string `json:"clusterID,omitempty"`
}

func (*Partner) Kind() Kind { return KindPartner }

// clusterIDForm is that of the ids that clusters are given when they are formed.
var clusterIDForm = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

func (s *Partner) check(c *checker) {
	if len(s.Endpoints) > maxPartnerEndpoints {
		c.add("spec.endpoints", RulePartnerEndpoint, "has %d; %d are the most", len(s.Endpoints), maxPartnerEndpoints)
	}
	seen := map[string]int{}
	for i, e := range s.Endpoints {
		field := fmt.Sprintf("spec.endpoints[%d]", i)
		if !validEndpoint(e) {
			c.add(field, RulePartnerEndpoint, "%q is no address or host name, with or without a port; write 192.0.2.7, [2001:db8::7]:7480 or filer1.example.com", e)
		}
		if first, twice := seen[strings.ToLower(e)]; twice {
			c.add(field, RulePartnerEndpoint, "%s is spec.endpoints[%d] already; remove one", e, first)
		}
		seen[strings.ToLower(e)] = i
	}
	if s.ClusterID != "" && !clusterIDForm.MatchString(s.ClusterID) {
		c.add("spec.clusterID", RulePartnerCluster, "%q is no id of a cluster; `netquorum partner` on the partner shows its own", s.ClusterID)
	}
}

// validEndpoint reports whether s is an address or a host name, with or without
// a port.
func validEndpoint(s string) bool {
	if ip, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return ip.IsValid() && !ip.IsUnspecified() && !ip.IsMulticast()
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return validHostName(s)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return false
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return !ip.IsUnspecified() && !ip.IsMulticast()
	}
	return validHostName(host)
}

// A Secret is one that this cluster shares with a partner. Its document's name
// is the public half. Secrets are documents of their own so that whoever edits,
// dumps or restores a Partner neither sees nor loses them.
type Secret struct {
	// Partner is the name of the partner.
	Partner string `json:"partner"`
	// State is accept for one with which the partner may call, use for the one
	// with which this cluster calls too.
	State SecretState `json:"state"`
	// Key is derived from the secret half; both sides prove that they know it.
	// It never leaves the store.
	Key []byte `json:"key"`
	// Made is in milliseconds since 1970.
	Made int64 `json:"made,omitempty"`
}

// A SecretState says what a secret is used for.
type SecretState string

const (
	SecretAccept SecretState = "accept"
	SecretUse    SecretState = "use"
)

func (*Secret) Kind() Kind { return KindSecret }

func (s *Secret) check(c *checker) {
	if len(s.Key) == 0 {
		c.add("spec.key", RuleRequired, "is missing")
	}
	if s.Partner == "" {
		c.add("spec.partner", RuleRequired, "is missing")
	}
	if s.State != SecretAccept && s.State != SecretUse {
		c.add("spec.state", RuleOptionValue, "%q is no state of a secret; it is accept or use", s.State)
	}
}

// A secret does not hold its partner: that of one which is deleted is removed by
// the leader, and good for nothing until then.
func (*Secret) checkAmong(Config, *checker) {}
func (*Secret) uses() []use                 { return nil }

func (s *Secret) claims(Key) []claim {
	if s.State != SecretUse {
		return nil
	}
	return []claim{{thing: nameThing + "secret/" + strings.ToLower(s.Partner), field: "spec.state", rule: RuleSecretUse, what: "the secret in use with " + s.Partner}}
}

// Public returns the document as it may be shown: without what would let who
// reads it pass for somebody else.
func (d Document) Public() Document {
	switch s := d.Spec.(type) {
	case *Token:
		public := *s
		public.Key = nil
		d.Spec = &public
	case *Secret:
		public := *s
		public.Key = nil
		d.Spec = &public
	}
	return d
}
