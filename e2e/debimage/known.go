package debimage

// The users that the images run as. Debian's packages give numbers by chance when they are
// installed, so these are our own.
const (
	nginxUser    = 101
	haproxyUser  = 99
	postgresUser = 70
	appUser      = 1000
)

// Nginx is the web server. Its configuration is found where the package has it; it logs to
// the container's output when that says so.
func Nginx() *Spec {
	return &Spec{
		Name:     "nginx",
		Packages: []string{"nginx", "curl"},
		Users:    []User{{"nginx", nginxUser, "/var/lib/nginx"}},
		Folders: []Folder{
			{"/var/lib/nginx", nginxUser, 0o755},
			{"/var/log/nginx", nginxUser, 0o755},
		},
		User: nginxUser,
		// Before it has read the configuration it would log to a file.
		Command:   []string{"nginx", "-e", "stderr"},
		Arguments: []string{"-g", "daemon off;"},
	}
}

// Curl is curl and openssl, for clients by hand.
func Curl() *Spec {
	return &Spec{Name: "curl", Packages: []string{"curl", "openssl"}, Users: []User{app()}, User: appUser, Command: []string{"sleep", "infinity"}}
}

// Python is Python with requests.
func Python() *Spec {
	return &Spec{
		Name: "python", Packages: []string{"python3-requests"}, Users: []User{app()}, User: appUser,
		// What the certificates' package makes when it is installed; requests wants it to exist.
		Files:   map[string]string{"/etc/ssl/certs/ca-certificates.crt": ""},
		Command: []string{"sleep", "infinity"},
	}
}

// Postgres is the server and psql. It has no database: initdb makes one, in a volume.
func Postgres() *Spec {
	return &Spec{
		Name:     "postgres",
		Packages: []string{"postgresql-15"},
		// Compiling of queries has its library only when it is used; the rest is texts, and
		// scripts for several clusters on a machine.
		Omit: []string{
			"libllvm14", "libz3-4", "locales", "libc-l10n", "perl", "perl-base", "libperl5.36", "perl-modules-5.36",
			"postgresql-common", "postgresql-client-common",
		},
		Users:   []User{{"postgres", postgresUser, "/var/lib/postgresql"}},
		Folders: []Folder{{"/var/lib/postgresql", postgresUser, 0o700}, {"/run/postgresql", postgresUser, 0o775}},
		Path:    "/usr/lib/postgresql/15/bin",
		User:    postgresUser,
		Command: []string{"postgres"},
	}
}

// Node is Node.js.
func Node() *Spec {
	return &Spec{Name: "node", Packages: []string{"nodejs"}, Users: []User{app()}, User: appUser, Command: []string{"node"}}
}

// HAProxy is the load balancer.
func HAProxy() *Spec {
	return &Spec{
		Name:     "haproxy",
		Packages: []string{"haproxy"},
		Omit:     []string{"perl", "perl-base", "libperl5.36", "perl-modules-5.36"},
		Users:    []User{{"haproxy", haproxyUser, "/var/lib/haproxy"}},
		Folders:  []Folder{{"/var/lib/haproxy", haproxyUser, 0o755}, {"/run/haproxy", haproxyUser, 0o755}},
		User:     haproxyUser,
		// The master process reloads on a signal.
		Command:   []string{"haproxy", "-W", "-db"},
		Arguments: []string{"-f", "/etc/haproxy/haproxy.cfg"},
	}
}

// Peer is the Go server and client of the demo, a static program alone in its image:
//
//	peer serve --until-signal
//	peer call https://…
func Peer() *Spec {
	return &Spec{Name: "peer", Program: "./cmd/peer", Users: []User{{"nonroot", 65532, "/"}}, User: 65532}
}

func app() User { return User{"app", appUser, "/home/app"} }

// Known returns all images of Debian packages.
func Known() []*Spec {
	return []*Spec{Nginx(), Curl(), Python(), Postgres(), Node(), HAProxy()}
}
