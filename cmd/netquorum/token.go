package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/netquorum/netquorum/api"
)

func (t *tool) tokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make, list and revoke the tokens with which filers join",
	}
	cmd.AddCommand(t.tokenCreateCommand(), t.tokenListCommand(), t.tokenRevokeCommand())
	return cmd
}

func (t *tool) tokenCreateCommand() *cobra.Command {
	var req api.TokenRequest
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make a token with which one filer can join once",
		Long: `Make a token with which one filer can join once. It is printed here and stored
nowhere: whoever has it can join, so hand it over like a password.`,
		Example: `  netquorum token create --filer filer2 > token
  netquorum token create --ttl 10m`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&req.Filer, "filer", "", "the only filer name that the token is good for")
	cmd.Flags().DurationVar((*time.Duration)(&req.TTL), "ttl", time.Hour, "how long the token is good for")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var token api.Token
		err := t.call(cmd, "making a token", func(ctx context.Context, c *api.Client) (err error) {
			token, err = c.CreateToken(ctx, req)
			return err
		})
		if err != nil {
			return err
		}
		return t.print(token, func() error {
			t.printf("%s\n", token.Token)
			if isTerminal(t.out) {
				fmt.Fprintf(t.err, "good once, until %s; on the new filer:\n  netquorum join --filer %s --peer THIS-FILER --token-file -\n",
					clock(token.Expires), nameOr(token.Filer, "NAME"))
			}
			return nil
		})
	}
	return cmd
}

func (t *tool) tokenListCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the tokens that are not used yet, without their secrets",
		Example: "  netquorum token list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var tokens []api.Token
			err := t.call(cmd, "reading", func(ctx context.Context, c *api.Client) (err error) {
				tokens, err = c.Tokens(ctx)
				return err
			})
			if err != nil {
				return err
			}
			return t.print(tokens, func() error {
				tab := newTable("ID", "FILER", "EXPIRES")
				for _, k := range tokens {
					tab.row(k.ID, nameOr(k.Filer, "any"), clock(k.Expires))
				}
				return tab.write(t.out)
			})
		},
	}
}

func (t *tool) tokenRevokeCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "revoke ID",
		Short:   "Make a token useless",
		Example: "  netquorum token revoke 5f1c09",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.call(cmd, "revoking", func(ctx context.Context, c *api.Client) error {
				return c.RevokeToken(ctx, args[0])
			})
		},
	}
}

func nameOr(name, other string) string {
	if name == "" {
		return other
	}
	return name
}
