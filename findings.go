package netquorum

// A Finding is something an operator should know about a valid configuration.
type Finding struct {
	Document Key    `json:"document"`
	Code     string `json:"code"` // stable, like cannot-fail-over
	Message  string `json:"message"`
}

// Findings lists what is allowed but probably not wanted.
func (c Config) Findings() []Finding { return nil }
