// Package rollout decides how a change that touches how filers reach each other,
// or takes links down, gets from one filer to the next. It is pure: the state of
// a rollout is a document, View says what a filer follows at each instant of it,
// and Next what the leader commits next.
//
// It is safe against a loss of power at any instant because it follows the rule
// of joint consensus: first every filer has, on its disk, the old and the new
// addresses together; only then may any filer drop the old ones. Whatever boots
// from whatever cache then shares addresses with a majority.
package rollout
