package servingcert

// Who keeps the caBundles right: every replica, whenever they change.

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/flowcontrol"
)

const (
	// recheck is how often is looked for what goes by time alone: a CA that has outlived.
	recheck = 30 * time.Second
	// A failure is tried again after retryFirst, and then ever later, up to recheck.
	retryFirst = time.Second
	// Who overwrites the caBundles again and again is answered this often: ten times at once,
	// then once a second.
	repairsAtOnce  = 10
	repairsASecond = 1
)

// keeper keeps the caBundles of our webhook configurations right, and tells trust what they
// hold.
type keeper struct {
	client     kubernetes.Interface
	secretName string
	namespace  string
	trust      *trust
	limit      flowcontrol.RateLimiter
	log        logr.Logger

	// informers feed what follows.
	informers []informers.SharedInformerFactory
	watched   []cache.SharedIndexInformer
	secrets   corelisters.SecretNamespaceLister
	kinds     []kind
}

// newKeeper makes a keeper. All it watches are objects of one name each, so that it needs no
// right to see others.
func newKeeper(c kubernetes.Interface, opts Options, t *trust) *keeper {
	named := func(name string) informers.SharedInformerOption {
		return informers.WithTweakListOptions(func(list *metav1.ListOptions) {
			list.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()
		})
	}
	secrets := informers.NewSharedInformerFactoryWithOptions(c, 0,
		named(opts.SecretName), informers.WithNamespace(opts.SecretNamespace), informers.WithTransform(withoutKey))
	configurations := informers.NewSharedInformerFactoryWithOptions(c, 0, named(opts.ConfigurationName))
	secret, admission := secrets.Core().V1().Secrets(), configurations.Admissionregistration().V1()
	mutating, validating := admission.MutatingWebhookConfigurations(), admission.ValidatingWebhookConfigurations()
	clients := c.AdmissionregistrationV1()
	return &keeper{
		client: c, namespace: opts.SecretNamespace, secretName: opts.SecretName, trust: t, log: opts.Log,
		limit:     flowcontrol.NewTokenBucketRateLimiter(repairsASecond, repairsAtOnce),
		informers: []informers.SharedInformerFactory{secrets, configurations},
		watched:   []cache.SharedIndexInformer{secret.Informer(), mutating.Informer(), validating.Informer()},
		secrets:   secret.Lister().Secrets(opts.SecretNamespace),
		kinds: []kind{
			newKind("MutatingWebhookConfiguration", opts.ConfigurationName, mutating.Lister().Get, clients.MutatingWebhookConfigurations(), readMutating),
			newKind("ValidatingWebhookConfiguration", opts.ConfigurationName, validating.Lister().Get, clients.ValidatingWebhookConfigurations(), readValidating),
		},
	}
}

// withoutKey keeps of a Secret only the certificate: here nobody needs the CA's key.
func withoutKey(object any) (any, error) {
	secret, ok := object.(*corev1.Secret)
	if !ok {
		return object, nil
	}
	return &corev1.Secret{ObjectMeta: secret.ObjectMeta, Data: map[string][]byte{corev1.TLSCertKey: secret.Data[corev1.TLSCertKey]}}, nil
}

// run keeps the caBundles right until the context ends. Nothing but that ends it: the
// webhook of this process must not go because something could not be read.
func (k *keeper) run(ctx context.Context) error {
	wake := make(chan struct{}, 1)
	changed := func(any) {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
	synced := make([]cache.InformerSynced, 0, len(k.watched))
	for _, informer := range k.watched {
		_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: changed, UpdateFunc: func(_, object any) { changed(object) }, DeleteFunc: changed,
		})
		if err != nil {
			return fmt.Errorf("watching the caBundle: %w", err)
		}
		synced = append(synced, informer.HasSynced)
	}
	for _, factory := range k.informers {
		factory.Start(ctx.Done())
		defer factory.Shutdown()
	}
	cache.WaitForCacheSync(ctx.Done(), synced...)
	retry := retryFirst
	for ctx.Err() == nil {
		wait := recheck
		if err := k.keep(ctx); err == nil {
			retry = retryFirst
		} else if ctx.Err() == nil {
			wait, retry = retry, min(2*retry, recheck)
			k.log.Error(err, "keep the caBundle right", "again in", wait.String())
		}
		select {
		case <-ctx.Done():
		case <-wake:
		case <-time.After(wait):
		}
	}
	return nil
}

// keep takes down what the watches say, and repairs what they say is wrong.
func (k *keeper) keep(ctx context.Context) error {
	all, err := k.configurations()
	if err != nil {
		return err
	}
	secret, err := k.secrets.Get(k.secretName)
	current, err := k.currentCA(secret, err)
	var bundles [][]*x509.Certificate
	for _, c := range all {
		for _, bundle := range c.bundles {
			bundles = append(bundles, oursIn(bundle))
		}
	}
	k.trust.observe(current, bundles)
	if current == nil || err != nil {
		return err
	}
	for _, c := range all {
		if patch, err := c.patch(k.wanted(current)); patch != nil || err != nil {
			return k.repair(ctx)
		}
	}
	return nil
}

// configurations returns those webhook configurations that exist.
func (k *keeper) configurations() ([]*configuration, error) {
	var all []*configuration
	for _, kind := range k.kinds {
		c, err := kind.cached()
		switch {
		case err == nil:
			all = append(all, c)
		case !apierrors.IsNotFound(err):
			return nil, fmt.Errorf("%s: %w", kind.name, err)
		}
	}
	return all, nil
}

// currentCA takes what came of reading the Secret, and returns the CA that it holds, or nil
// when there is none yet: the authority will make it.
func (k *keeper) currentCA(secret *corev1.Secret, err error) (*x509.Certificate, error) {
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading Secret %s/%s: %w", k.namespace, k.secretName, err)
	}
	certs := parse(secret.Data[corev1.TLSCertKey])
	if len(certs) == 0 {
		return nil, nil // the authority replaces it
	}
	if err := checkOurs(certs[0]); err != nil {
		return nil, fmt.Errorf("the CA in Secret %s/%s was not made by this program; delete the Secret, so that one is made: %w",
			k.namespace, k.secretName, err)
	}
	return certs[0], nil
}

func (k *keeper) wanted(current *x509.Certificate) func([]byte) []byte {
	inUse, outlived := k.trust.inUse(), k.trust.outlived(current)
	return func(bundle []byte) []byte { return next(bundle, current, inUse, outlived, k.trust.now()) }
}

// repair writes the caBundles. It goes by what the API server says, not by the cache: a
// replica whose watch is late must not take out a CA that others have put in since.
func (k *keeper) repair(ctx context.Context) error {
	secret, err := k.client.CoreV1().Secrets(k.namespace).Get(ctx, k.secretName, metav1.GetOptions{})
	current, err := k.currentCA(secret, err)
	if current == nil || err != nil {
		return err
	}
	var errs []error
	for _, kind := range k.kinds {
		if err := k.repairOne(ctx, kind, current); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", kind.name, err))
		}
	}
	return errors.Join(errs...)
}

func (k *keeper) repairOne(ctx context.Context, kind kind, current *x509.Certificate) error {
	c, err := kind.live(ctx)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	patch, err := c.patch(k.wanted(current))
	if patch == nil || err != nil {
		return err
	}
	if err := k.limit.Wait(ctx); err != nil {
		return err
	}
	err = kind.patch(ctx, patch)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil // somebody was faster, and the watch will say what he did
	}
	if err == nil {
		k.log.Info("put the caBundle right", "kind", kind.name, "ca", current.SerialNumber.Text(16), "notAfter", current.NotAfter)
	}
	return err
}
