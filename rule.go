package netquorum

// A Rule is the stable name of a validation rule, for scripts and tests.
type Rule string

const (
	RuleDocumentOnce      Rule = "document-once"
	RuleDocumentKind      Rule = "document-kind"
	RuleDocumentSize      Rule = "document-size"
	RuleName              Rule = "name"
	RuleNameReserved      Rule = "name-reserved"
	RuleNameShared        Rule = "name-shared"
	RuleRequired          Rule = "required"
	RuleReference         Rule = "reference"
	RuleInUse             Rule = "in-use"
	RuleClusterOne        Rule = "cluster-one"
	RuleClusterMAC        Rule = "cluster-mac"
	RuleClusterHistory    Rule = "cluster-history"
	RuleInterfaceName     Rule = "interface-name"
	RuleInterfaceOnce     Rule = "interface-once"
	RuleInterfaceField    Rule = "interface-field"
	RuleInterfaceLayer    Rule = "interface-layer"
	RuleInterfaceExists   Rule = "interface-exists"
	RuleInterfaceCircle   Rule = "interface-circle"
	RuleMemberShared      Rule = "member-shared"
	RuleMemberAddress     Rule = "member-address"
	RuleMTURange          Rule = "mtu-range"
	RuleMTUParent         Rule = "mtu-parent"
	RuleMTUIPv6           Rule = "mtu-ipv6"
	RuleOptionValue       Rule = "option-value"
	RuleOptionCombination Rule = "option-combination"
	RulePrimaryMember     Rule = "primary-member"
	RuleAddressHost       Rule = "address-host"
	RuleAddressPlace      Rule = "address-place"
	RuleAddressUnique     Rule = "address-unique"
	RuleAddressInstance   Rule = "address-instance"
	RuleAddressName       Rule = "address-name"
	RulePortMAC           Rule = "port-mac"
	RuleNoHost            Rule = "no-host"
	RuleRouteDestination  Rule = "route-destination"
	RuleRouteFamily       Rule = "route-family"
	RuleRouteGateway      Rule = "route-gateway"
	RuleRouteOnce         Rule = "route-once"
	RuleRouteMetric       Rule = "route-metric"
	RuleRouteAlias        Rule = "route-alias"
	RuleGatewayOnLink     Rule = "gateway-on-link"
	RuleGatewayOwned      Rule = "gateway-owned"
	RuleRecordData        Rule = "record-data"
	RuleRecordSize        Rule = "record-size"
	RuleMemberID          Rule = "member-id"
	RuleAccessAction      Rule = "access-action"
	RuleAccessTraffic     Rule = "access-traffic"
	RuleAccessSource      Rule = "access-source"
	RuleAccessPlace       Rule = "access-place"
	RuleAccessFamily      Rule = "access-family"
	RuleApplicationName   Rule = "application-name"
	RuleApplicationClass  Rule = "application-class"
	RuleRolloutOne        Rule = "rollout-one"
	RuleProbeTime         Rule = "probe-time"
	RuleProbeTarget       Rule = "probe-target"
	RulePartnerEndpoint   Rule = "partner-endpoint"
	RulePartnerCluster    Rule = "partner-cluster"
	RuleSecretUse         Rule = "secret-use"
	RuleAuthorityOne      Rule = "authority-one"
)

// A RuleInfo says what a rule asks for and which requirement it comes from.
type RuleInfo struct {
	Rule        Rule   `json:"rule"`
	Requirement string `json:"requirement,omitempty"`
	Says        string `json:"says"`
}

// RuleBook lists every rule that Change checks.
var RuleBook = []RuleInfo{
	{RuleDocumentOnce, "", "one change puts a document once"},
	{RuleDocumentKind, "", "a document has a kind that exists, and the spec of that kind"},
	{RuleDocumentSize, "", "the JSON form of a document fits into one raft entry"},
	{RuleName, "N11", "names are letters, digits, dots, dashes and underscores, at most 63 characters"},
	{RuleNameReserved, "N24", "vs_mgmt is reserved, and so is every name that begins with it"},
	{RuleNameShared, "N31", "a service shares its name with no virtual server and no filer, so that DHCP client identifiers differ"},
	{RuleRequired, "", "a field that the kind needs is there"},
	{RuleReference, "", "what a document names exists"},
	{RuleInUse, "", "what another document names is not deleted"},
	{RuleClusterOne, "N30", "there is exactly one Cluster document"},
	{RuleClusterMAC, "N30", "the cluster MAC is there, not multicast and not zero"},
	{RuleClusterHistory, "", "the number of kept revisions is between 0 and 100000"},
	{RuleInterfaceName, "N11", "interfaces are named by the rules: ethN, bondN, failN, mgmtN, dataN, sanN, with VLAN tags from 1 to 4094"},
	{RuleInterfaceOnce, "N11", "a document has an interface once"},
	{RuleInterfaceField, "N15", "a setting stands on a layer that has it"},
	{RuleInterfaceLayer, "N10", "bonds are made of physical interfaces; failover interfaces of what is below them; an alias stands on no alias"},
	{RuleInterfaceExists, "N10", "what an interface is built on exists on the filer"},
	{RuleInterfaceCircle, "N10", "no interface is built on itself"},
	{RuleMemberShared, "N12", "a member is part of one interface and nothing else is built on it"},
	{RuleMemberAddress, "N12", "a member carries no address"},
	{RuleMTURange, "N15", "an MTU is between 68 and 65535"},
	{RuleMTUParent, "N15", "an MTU is not above that of the interface below"},
	{RuleMTUIPv6, "N5", "an interface with IPv6 addresses has an MTU of at least 1280"},
	{RuleOptionValue, "N14", "an option has a value that the kernel takes"},
	{RuleOptionCombination, "N14", "options that stand together go together, and go with the mode"},
	{RulePrimaryMember, "N14", "the primary is one of the members"},
	{RuleAddressHost, "N5", "an address is one that a host can have, with its prefix length"},
	{RuleAddressPlace, "N13", "addresses of filers are on mgmt and san aliases, of virtual servers on data aliases, of services on mgmt aliases; vs_mgmt may have both data and mgmt"},
	{RuleAddressUnique, "N13", "an address is in the configuration once"},
	{RuleAddressInstance, "N31", "alias and instance tell the addresses of a virtual server apart; a service has one address on an alias"},
	{RuleAddressName, "N38", "names of an address are DNS names"},
	{RulePortMAC, "N31", "the MAC derived for a port is derived for no other"},
	{RuleNoHost, "N4", "a filer of the group has every alias of the virtual server or service"},
	{RuleRouteDestination, "N20", "a destination is a network: no bits beyond its length"},
	{RuleRouteFamily, "N5", "destination and gateway are of one address family"},
	{RuleRouteGateway, "N20", "a gateway is an address that a router can have"},
	{RuleRouteOnce, "N20", "a policy has one route for a destination and metric"},
	{RuleRouteMetric, "N20", "a metric is between 0 and 4294967295"},
	{RuleRouteAlias, "N20", "a route leaves by an alias"},
	{RuleGatewayOnLink, "N20", "who uses a policy has, on one alias, an address in the subnet of each gateway"},
	{RuleGatewayOwned, "N13", "a gateway is not an address of the cluster itself"},
	{RuleRecordData, "O8", "a record's data is canonical JSON"},
	{RuleRecordSize, "O8", "a record's data is at most 256 KiB"},
	{RuleMemberID, "", "every member has an id of its own"},
	{RuleAccessAction, "N26", "an access rule, and what decides where none matches, is allow or deny"},
	{RuleAccessTraffic, "N26", "an access rule is about applications, classes, or tcp, udp and sctp with ports from 1 to 65535"},
	{RuleAccessSource, "N26", "a source is a network: no bits beyond its length"},
	{RuleAccessPlace, "N26", "an access rule is limited to aliases, and to addresses that a host can have"},
	{RuleAccessFamily, "N26", "some source of an access rule is of the address family of some address that it is limited to"},
	{RuleApplicationName, "N26", "no application is named like a class or protocol"},
	{RuleApplicationClass, "N26", "an application's class is data, management, or none"},
	{RuleRolloutOne, "N36", "there is one rollout at a time"},
	{RuleProbeTime, "S2", "probes are not too frequent, and one lost packet is no fault"},
	{RuleProbeTarget, "N28", "a probe target is an address that a host can have, on an alias"},
	{RulePartnerEndpoint, "T11", "a partner's endpoints are addresses or host names, with or without a port, each once and 16 at most"},
	{RulePartnerCluster, "T10", "the id of a partner's cluster is one"},
	{RuleSecretUse, "T10", "one secret at most is in use with a partner"},
	{RuleAuthorityOne, "T10", "there is one Authority document"},
}
