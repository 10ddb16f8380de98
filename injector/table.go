package injector

// The table of environment variables, from which variables.go injects.

import (
	"slices"

	"example.io/mtls-injector/intent"
)

// Variable is one row of the table of environment variables.
type Variable struct {
	Profile intent.EnvProfile
	Name    string
	// Role is the side that has the variable: [intent.RoleServer] stands for server and
	// both, [intent.RoleClient] for client and both, [intent.RoleBoth] for every role.
	Role intent.Role
	// Value is what the variable holds, with the usual folders.
	Value string
	Help  string

	value func(*facts) string
}

// facts is what variables can tell.
type facts struct {
	role, spiffeID, bundle string
	serverCert, serverKey  string
	clientCert, clientKey  string
}

// variableCount is the number of rows of the table.
const variableCount = 17

// Variables returns the table in the order of injection. It is the only definition of
// the variables: what is injected and the documentation are made from it.
func Variables() []Variable {
	example := facts{
		role: "server, client or both", spiffeID: "spiffe://<trust domain>/ns/<namespace>/sa/<service account>",
		bundle:     bundleFolder + "/" + bundleFile,
		serverCert: serverFolder + "/" + certificateFile, serverKey: serverFolder + "/" + keyFile,
		clientCert: clientFolder + "/" + certificateFile, clientKey: clientFolder + "/" + keyFile,
	}
	rows := table()
	for i := range rows {
		rows[i].Value = rows[i].value(&example)
	}
	return rows[:]
}

// VariablesOf returns those variables that a pod of the intent gets, with the values that it
// gets.
func VariablesOf(in *intent.Intent) []Variable {
	p := patch{in: in, path: foldersOf(in)}
	told := p.facts()
	var rows []Variable
	for _, row := range table() {
		if row.applies(in) {
			row.Value = row.value(&told)
			rows = append(rows, row)
		}
	}
	return rows
}

// FoldersOf returns where the intent's pods find their files: key pair and bundle.
func FoldersOf(in *intent.Intent) (keyPair []string, bundle string) {
	at := foldersOf(in)
	if in.Role.IsServer() {
		keyPair = append(keyPair, at.server)
	}
	if in.Role.IsClient() && at.client != at.server || len(keyPair) == 0 {
		keyPair = append(keyPair, at.client)
	}
	return keyPair, at.bundle
}

// table returns the rows without their Value.
func table() [variableCount]Variable {
	role := func(f *facts) string { return f.role }
	spiffeID := func(f *facts) string { return f.spiffeID }
	bundle := func(f *facts) string { return f.bundle }
	serverCert := func(f *facts) string { return f.serverCert }
	serverKey := func(f *facts) string { return f.serverKey }
	clientCert := func(f *facts) string { return f.clientCert }
	clientKey := func(f *facts) string { return f.clientKey }
	verifyFull := func(*facts) string { return "verify-full" }
	const (
		all    = intent.RoleBoth
		server = intent.RoleServer
		client = intent.RoleClient
	)
	return [...]Variable{
		{Profile: intent.EnvMTLS, Name: "MTLS_ROLE", Role: all, value: role, Help: "The pod's role."},
		{Profile: intent.EnvMTLS, Name: "MTLS_SPIFFE_ID", Role: all, value: spiffeID, Help: "The pod's SPIFFE ID, the URI SAN of its certificate."},
		{Profile: intent.EnvMTLS, Name: "MTLS_CA_CERT", Role: all, value: bundle, Help: "File with the CA bundle that verifies peers."},
		{Profile: intent.EnvMTLS, Name: "MTLS_SERVER_CERT", Role: server, value: serverCert, Help: "File with the certificate chain to serve with."},
		{Profile: intent.EnvMTLS, Name: "MTLS_SERVER_KEY", Role: server, value: serverKey, Help: "File with the private key to serve with."},
		{Profile: intent.EnvMTLS, Name: "MTLS_CLIENT_CERT", Role: client, value: clientCert, Help: "File with the certificate chain to present to servers."},
		{Profile: intent.EnvMTLS, Name: "MTLS_CLIENT_KEY", Role: client, value: clientKey, Help: "File with the private key to present to servers."},
		{Profile: intent.EnvOpenSSL, Name: "SSL_CERT_FILE", Role: all, value: bundle, Help: "Trusted by OpenSSL, Go, Ruby and others, in place of the system's CAs."},
		{Profile: intent.EnvCurl, Name: "CURL_CA_BUNDLE", Role: all, value: bundle, Help: "Trusted by curl, in place of the system's CAs."},
		{Profile: intent.EnvPython, Name: "REQUESTS_CA_BUNDLE", Role: all, value: bundle, Help: "Trusted by Python's requests, in place of certifi's CAs."},
		{Profile: intent.EnvNode, Name: "NODE_EXTRA_CA_CERTS", Role: all, value: bundle, Help: "Trusted by Node.js, besides its own CAs."},
		{Profile: intent.EnvGRPC, Name: "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", Role: all, value: bundle, Help: "Trusted by gRPC's C core, in place of its own CAs."},
		{Profile: intent.EnvPostgres, Name: "PGSSLMODE", Role: all, value: verifyFull, Help: "Makes libpq verify the server's certificate and name."},
		{Profile: intent.EnvPostgres, Name: "PGSSLROOTCERT", Role: all, value: bundle, Help: "Trusted by libpq."},
		{Profile: intent.EnvPostgres, Name: "PGSSLCERT", Role: client, value: clientCert, Help: "Certificate chain that libpq presents."},
		{Profile: intent.EnvPostgres, Name: "PGSSLKEY", Role: client, value: clientKey, Help: "Private key that libpq uses; it refuses one that everyone may read."},
		{Profile: intent.EnvAWS, Name: "AWS_CA_BUNDLE", Role: all, value: bundle, Help: "Trusted by the AWS command line and SDKs, in place of their own CAs."},
	}
}

// applies reports whether a pod of the intent has the variable.
func (v *Variable) applies(in *intent.Intent) bool {
	switch {
	case !slices.Contains(in.Env, v.Profile):
		return false
	case v.Role == intent.RoleServer:
		return in.Role.IsServer()
	case v.Role == intent.RoleClient:
		return in.Role.IsClient()
	default:
		return true
	}
}
