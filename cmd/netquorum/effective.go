package main

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/spf13/cobra"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
)

// getEffective shows what holds for one document.
func (t *tool) getEffective(cmd *cobra.Command, args []string, cons api.Consistency) error {
	kindName, name, found := strings.Cut(strings.Join(args, "/"), "/")
	if !found {
		return api.Refuse(api.ErrUsage, "--effective is about one document: write KIND NAME or KIND/NAME", nil)
	}
	kind, err := api.ParseKind(kindName)
	if err != nil {
		return err
	}
	var d api.EffectiveDocument
	err = t.call(cmd, "reading", func(ctx context.Context, c *api.Client) (err error) {
		d, err = c.Effective(ctx, kind, name, cons)
		return err
	})
	if err != nil {
		return err
	}
	return t.print(d, func() error {
		tab := newTable("FIELD", "VALUE", "FROM")
		for _, s := range d.Effective {
			tab.row(s.Field, settingText(s.Value), origin(s.From))
		}
		return tab.write(t.out)
	})
}

// origin is the document that says a value.
func origin(k netquorum.Key) string {
	if k.Name == "" {
		return "-"
	}
	return k.String()
}

// settingText is a value in one line. An interface has many fields, and its name
// is in the setting's.
func settingText(v any) string {
	switch v := v.(type) {
	case nil:
		return "-"
	case string:
		return v
	}
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	fields := map[string]json.RawMessage{}
	if json.Unmarshal(text, &fields) != nil {
		return string(text)
	}
	var parts []string
	for _, name := range []string{"parent", "members", "mtu", "addresses"} {
		if raw, ok := fields[name]; ok {
			parts = append(parts, name+" "+strings.NewReplacer(`"`, "", ",", ", ", "[", "", "]", "").Replace(string(raw)))
		}
		delete(fields, name)
	}
	delete(fields, "name")
	if len(fields) > 0 {
		parts = append(parts, count(len(fields), "other setting"))
	}
	return strings.Join(parts, "; ")
}
