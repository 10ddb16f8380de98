// Package policy says the rules of identity in the language of approver-policy, which
// cert-manager asks before it signs: what the webhook refuses at admission is then refused
// a second time, and to those who never come past the webhook.
//
// It is pure: the configuration's [intent.Defaults] go in, and out come
// CertificateRequestPolicies, and the RBAC to use them. A policy is never wider than the
// configuration. What a policy cannot say is an error that tells what to write instead.
//
// Read policy.go for what there is a policy for, allowed.go for what it allows, and
// reach.go for how selectors of namespaces are translated
// (https://cert-manager.io/docs/policy/approval/approver-policy/).
package policy
