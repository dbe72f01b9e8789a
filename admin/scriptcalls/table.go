// SPDX-License-Identifier: Apache-2.0

package scriptcalls

import (
	"reflect"

	"restante/admin/api"
)

// Functions is the table of all functions, by module. "words..." of metabase are
// those of the command of the same name.
func Functions() []Function {
	apply := line("apply", "Applies a batch: lines = {{words = {verb, word ...}} ...}")
	apply.words, apply.Args, apply.Fields, apply.request = nil, nil, []string{"lines"}, reflect.TypeFor[api.ApplyRequest]()
	deep := with("deep", true)
	return []Function{
		of("metabase.get", api.MbGet, "words...", "Gives a property, PATH PROP, with where it comes from"),
		of("metabase.show", api.MbShow, "path all", "Lists the properties of a key"),
		of("metabase.ls", api.MbList, "path", "Lists the child keys"),
		of("metabase.tree", api.MbList, "path", "Lists all keys below", deep),
		of("metabase.find", api.MbFind, "property path", "Lists where a property is stored"),
		of("metabase.schema", api.MbSchema, "name", "Explains classes and properties"),
		line("set", "Stores a value: PATH PROP VALUE ..."),
		line("unset", "Removes what is stored: PATH PROP"),
		line("add", "Adds a key: PATH CLASS"),
		line("rm", "Removes a key: PATH, with --recursive before it all below it"),
		line("cp", "Copies a key: SRC DST"),
		line("mv", "Moves a key: SRC DST"),
		apply,
		of("metabase.log", api.MbLog, "path count", "Lists revisions"),
		of("metabase.diff", api.MbDiff, "from to", "Lists what differs between two revisions"),
		of("metabase.revert", api.MbRevert, "rev path", "Reverts a revision"),
		of("metabase.confirm", api.MbConfirm, "rev", "Confirms a change"),
		of("metabase.export", api.MbExport, "path", "Gives a MetaBase.xml", octets("xml")),
		of("metabase.import", api.MbImport, "xml", "Imports the text of a MetaBase.xml", octets("xml")),
		of("metabase.backup", api.MbBackup, "name", "Makes a backup"),
		of("metabase.backups", api.MbBackups, "", "Lists backups"),
		of("metabase.delete_backup", api.MbDeleteBackup, "name version", "Deletes a backup; version -1 is the newest"),
		of("metabase.restore", api.MbRestore, "name version", "Restores a backup; version -1 is the newest"),
		of("metabase.verify", api.MbVerify, "", "Verifies the store"),

		of("site.list", api.SiteList, "", "Lists sites"),
		of("site.show", api.SiteShow, "site", "Describes a site"),
		of("site.create", api.SiteCreate, "name bind domain dir", "Makes a site"),
		of("site.rename", api.SiteSet, "site name", "Renames a site", without("bind")),
		of("site.bind", api.SiteSet, "site bind...", "Replaces a site's addresses", without("name")),
		of("site.start", api.SiteCommand, "site", "Starts a site", with("command", "start")),
		of("site.stop", api.SiteCommand, "site", "Stops a site", with("command", "stop")),
		of("site.pause", api.SiteCommand, "site", "Pauses a site", with("command", "pause")),
		of("site.continue", api.SiteCommand, "site", "Continues a site", with("command", "continue")),
		of("site.delete", api.SiteDelete, "site", "Deletes a site; drain, move_to, export or discard says what becomes of its mail", folder("export")),
		of("site.sessions", api.Sessions, "site", "Lists the connections"),
		of("site.end_session", api.EndSession, "site id", "Ends one connection or, with all, each"),

		of("domain.list", api.DomainList, "site", "Lists domains"),
		of("domain.show", api.DomainShow, "site name", "Describes a domain"),
		of("domain.create", api.DomainCreate, "site name", "Makes a domain, remote unless alias is true"),
		of("domain.delete", api.DomainDelete, "site name", "Deletes a domain"),
		of("domain.oauth", api.DomainOauth, "site name", "Asks for a code with which a person signs in at the provider of a domain's smart host"),
		of("domain.oauth_wait", api.DomainOauthWait, "site name code", "Waits until the person has signed in, and stores the token"),
		of("domain.dkim", api.DomainDkim, "site name", "Makes, shows and rotates the keys that sign a domain's mail"),

		of("account.list", api.AccountList, "site", "Lists accounts"),
		of("account.add", api.AccountPut, "name password", "Adds an account, [SITE/]NAME", with("change", false)),
		of("account.passwd", api.AccountPut, "name password", "Changes a password", with("change", true)),
		of("account.delete", api.AccountDelete, "name", "Deletes an account", without("password", "cram_md5", "change")),

		of("turn.list", api.TurnList, "site account", "Lists who may collect which domain's mail"),
		of("turn.history", api.TurnHistory, "site domain", "Lists the calls for held mail"),
		of("turn.grant", api.TurnSet, "site domain account", "Lets an account collect a domain's mail", with("revoke", false)),
		of("turn.revoke", api.TurnSet, "site domain account", "Ends that", with("revoke", true)),

		of("queue.list", api.QueueList, "site domain", "Lists destinations"),
		of("queue.messages", api.QueueMessages, "domain site", "Lists messages for a domain"),
		of("queue.show", api.QueueShow, "id body", "Describes a message", octets("body")),
		of("queue.trace", api.QueueTrace, "what", "Finds messages by id or address"),
		act("retry", "Tries messages at once"), act("freeze", "Holds messages until they are thawed"),
		act("thaw", "Ends that"), act("delete", "Deletes messages"), act("bounce", "Returns messages to their senders"),
		of("queue.release", api.QueueRelease, "domain site", "Delivers a held domain's mail, as ETRN does"),
		of("queue.export", api.QueueExport, "dir site", "Writes messages to a folder", folder("dir")),
		of("queue.import", api.QueueImport, "dir site", "Takes messages from a folder", folder("dir")),

		of("service.status", api.Status, "", "Describes the service"),
		of("service.explain", api.Explain, "site recipient", "Says what would happen to a message, and why"),
		of("service.explain_message", api.ExplainMessage, "id", "Says what became of a message, and why"),
	}
}

func act(name, does string) Function {
	return of("queue."+name, api.QueueAct, "ids...", does, with("act", name))
}
