package monitor

// A State is that of a group or member; the package's comment has the table.
type State string

// The states. A state that an old reader does not know is best taken for
// failed.
const (
	Running  State = "running"
	Up       State = "up"
	Failed   State = "failed"
	Inactive State = "inactive"
	Standby  State = "standby"
	Offline  State = "offline"
)

// States lists every state.
var States = []State{Running, Up, Failed, Inactive, Standby, Offline}

// Works reports whether traffic passes, or would if this member were in use.
func (s State) Works() bool { return s == Running || s == Up || s == Inactive || s == Standby }

// together is the state of a group by those of its members.
func together(members []Member) (State, string) {
	offline, why := 0, ""
	idle := false
	for _, m := range members {
		switch {
		case m.State == Running:
			return Running, ""
		case m.State.Works():
			idle = true
		case m.State == Offline:
			offline++
			why = join(why, m.Name+": "+m.Reason)
		default:
			why = join(why, m.Name+": "+m.Reason)
		}
	}
	switch {
	case idle:
		return Up, "no member carries traffic yet"
	case offline == len(members):
		return Offline, why
	}
	return Failed, why
}

// on is the state of an interface by that of the one that it stands on.
func on(below State, name, reason string) (State, string) {
	switch below {
	case Failed, Offline:
		return below, name + ": " + reason
	case Up:
		return Up, name + ": " + reason
	}
	return Running, ""
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}
