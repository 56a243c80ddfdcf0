/* SPDX-License-Identifier: Apache-2.0 */
/* What would mend a problem, for who has never heard of Weir: the problem itself says what was expected where. */
#include <string.h>

#include "status/events_pvt.h"

/* By reason. Sentences, as they follow the problem's own text. */
static const char *const hints[][2] = {
    {"AddressNotAssigned", "Delete a Gateway that is not needed, or give weir-ctrl a larger --address-pool."},
    {"AddressNotUsable", "Name another address, or none to get a free one."},
    {"AddressRefused", "Correct the name's addresses in DNS, or name another one."},
    {"BackendIdConflict", "Rename one of the two Services."},
    {"BackendNotFound", "Create it, or correct the name or the namespace."},
    {"BackendTLSNotSupported", "Remove the BackendTLSPolicy, or use another controller for this route."},
    {"BudgetExceeded", "Delete routes of this namespace that are not needed, or ask for a larger --namespace-budget or memory.arena_mb."},
    {"DuplicateListener", "Give the listener another name."},
    {"DuplicateName", "Remove the other entries of this name."},
    {"ExternalNamesOff", "Name a Service that selects Pods, or let weir-ctrl serve ExternalNames (--external-names any)."},
    {"ForeignAnnotations", "Remove them; the filters of an HTTPRoute, and annotations that begin with weir.dev/, do much of what they do."},
    {"GatewayClassNotFound", "Create it, or correct the name: kubectl get gatewayclasses lists those that there are."},
    {"HostnameConflict", "None of the two is served until one has another port or hostname."},
    {"IgnoredAnnotation", "Add what it needs, or remove it."},
    {"IncompatibleFilters", "Remove one of them: until then the rule answers 500."},
    {"IngressClassNotFound", "Create it, or correct the name: kubectl get ingressclasses lists those that there are."},
    {"Invalid", "Correct what its other Events name."},
    {"InvalidAddress", "Remove the address: the other endpoints are used."},
    {"InvalidAnnotation", "Correct the value, or remove the annotation."},
    {"InvalidCACertificateKind", "Name a ConfigMap with the CA certificates in ca.crt."},
    {"InvalidCACertificateRef", "Name a ConfigMap with the CA certificates in ca.crt, in PEM, and let Weir read it."},
    {"InvalidCertificateRef", "Name a Secret of type kubernetes.io/tls, and let Weir read it."},
    {"InvalidClientCertificateRef", "Name a Secret of type kubernetes.io/tls, and let Weir read it."},
    {"InvalidExternalName", "Correct spec.externalName of the Service: for an IP address write an EndpointSlice instead."},
    {"InvalidHostname", "Correct the host name: until then nothing is served for it."},
    {"InvalidKind", "Name an object of the kind that was expected: until then its share of the requests is answered 500."},
    {"InvalidName", "Correct the name."},
    {"InvalidParameters", "Remove the reference."},
    {"InvalidPath", "Correct the path: until then nothing is served for it."},
    {"InvalidRouteKinds", "Remove the kind from allowedRoutes."},
    {"InvalidType", "Correct the type of the value."},
    {"InvalidValue", "Correct the value."},
    {"ListenerTaken", "Give it another port or hostname, or weir-ctrl an --address-pool, so that each Gateway has an address of its own."},
    {"ListenersNotValid", "Correct what its other Events name."},
    {"MissingField", "Add the field."},
    {"MissingLabel", "Add the label with the name of the Service whose endpoints these are."},
    {"NameNotFound", "Correct spec.externalName, or add it in DNS."},
    {"NameServersFail", "See whether the name servers of weir-ctrl (/etc/resolv.conf, or --dns-servers) can be reached."},
    {"NoMatchingListenerHostname", "Give the route a hostname that a listener has, or a listener one that the route has."},
    {"NoMatchingParent", "Correct the reference: kubectl get gateways -A lists the Gateways that there are."},
    {"NotAllowed", "Let the Gateway take it (spec.allowedListeners)."},
    {"NotAllowedByListeners", "Let a listener take it (allowedRoutes.namespaces), or move the route to a namespace that it takes."},
    {"ParentNotAccepted", "Correct what the Events of the parent name."},
    {"PathConflict", "Remove the path from one of the two Ingresses."},
    {"PortNotFound", "Correct the port, or add it to the Service."},
    {"ProtocolConflict", "None of the two is served until one has another port."},
    {"RefNotPermitted", "Create it, or refer to what is in the same namespace."},
    {"SeveralDefaultClasses", "Leave the annotation on one IngressClass only."},
    {"TLSNotServed", "Use another controller for HTTPS, or remove tls."},
    {"TooLarge", "Shorten it, or split it over several objects."},
    {"TooMany", "Remove some, or split them over several objects."},
    {"TooManyAddresses", "Give the name fewer addresses, or balance over several names."},
    {"TooManyMatches", "Split the route."},
    {"TooManyNames", "Remove ExternalNames that are not needed."},
    {"TooManyProblems", "Correct those that are listed first."},
    {"UnknownAnnotation", "Correct the name, or remove the annotation."},
    {"UnknownField", "Correct the name of the field, or remove it."},
    {"UnsupportedAddress", "Name an IP address, or none to get a free one."},
    {"UnsupportedAddressType", "Write an EndpointSlice with IP addresses: this one is not used."},
    {"UnsupportedAnnotation", "Set it on the Gateway, or remove it."},
    {"UnsupportedAppProtocol", "Correct appProtocol of the Service's port, or remove it."},
    {"UnsupportedBackend", "Name a Service: until then the path is answered 503."},
    {"UnsupportedField", "Remove the field, or use another controller for what needs it."},
    {"UnsupportedFilter", "Remove the filter, or use another controller for this route: until then the rule answers 500."},
    {"UnsupportedParent", "Remove the reference, if no other controller takes it."},
    {"UnsupportedPolicy", "Remove the policy, or use another controller for what needs it."},
    {"UnsupportedProtocol", "Change the protocol, or use another controller for this listener: it is not served."},
    {"UnsupportedService", "Name a Service that selects Pods, or has EndpointSlices of its own."},
    {"UnsupportedValue", "Change the value, or use another controller for what needs it."},
};

const char *event_hint(const char *reason)
{
	for (size_t i = 0; i < sizeof(hints) / sizeof(*hints); i++)
		if (strcmp(hints[i][0], reason) == 0)
			return hints[i][1];
	return NULL;
}
