// Package servingcert has the webhook make its own serving certificate: the self-managed
// mode, in which nothing else need run for the webhook to serve.
//
// cert-manager's DynamicAuthority keeps a CA in a Secret that all replicas share, and its
// DynamicSource has that CA sign a short-lived certificate, whose key never leaves the
// process. What is added here is what makes the API server trust it: the CA goes into the
// caBundle of our webhook configurations and is kept there (keeper.go, bundle.go), and no
// certificate is served before its CA has been there for a while (trust.go). Decision 12
// says why.
package servingcert
