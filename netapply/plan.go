package netapply

// Plan returns the steps that turn what is there into what is wanted, in an
// order that never leaves an interface without its addresses longer than the
// kernel forces us to, and the objects that cannot be had.
func Plan(want Desired, have Observed) ([]Step, []ObjectError) {
	return nil, nil
}
