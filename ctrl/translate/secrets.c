/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets and ConfigMaps (core v1) that others refer to: whether they are
 * there, and whether what they hold can be used. The content of each is looked
 * at once, when somebody first asks, and again when it has changed. What was
 * decoded is overwritten before it is freed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "translate/translator_pvt.h"

static struct bytes text_of(const char *text)
{
	size_t n = strlen(text);
	struct bytes out = {.p = translate_must(malloc(n + 1)), .n = n};

	memcpy(out.p, text, n + 1);
	return out;
}

/* The value of a key: in a Secret as base64 (stringData of a manifest: as text), in a ConfigMap as text. */
static struct bytes value_of(const struct kube_object *o, const char *key)
{
	const char *plain = node_str(node_get(node_get(o->root, "stringData"), key));
	const char *data = node_str(node_get(node_get(o->root, "data"), key));

	if (o->kind == KUBE_CONFIG_MAP)
		return data ? text_of(data) : (struct bytes){NULL, 0};
	if (plain)
		return text_of(plain);
	return data ? base64_decode(data, strlen(data), "\r\n") : (struct bytes){NULL, 0}; /* as the API server takes it */
}

static const char *judge_certificate(const struct kube_object *o, struct certificate **out)
{
	struct bytes crt = value_of(o, "tls.crt");
	struct bytes key = value_of(o, "tls.key");
	const char *fault;

	if (!crt.p)
		fault = "it has no tls.crt, or none in base64";
	else if (!key.p)
		fault = "it has no tls.key, or none in base64";
	else
		fault = pem_read_pair(crt.p, crt.n, key.p, key.n, out);
	bytes_fini(&crt);
	bytes_fini(&key);
	if (*out) {
		(*out)->ns = translate_must(strdup(o->ns));
		(*out)->name = translate_must(strdup(o->name));
	}
	return fault;
}

static bool has_key(const struct kube_object *o, const char *key)
{
	return node_get(node_get(o->root, "data"), key) || node_get(node_get(o->root, "stringData"), key);
}

/* CA certificates, and perhaps what they have revoked: who names CRLs does not want to do without. */
static const char *judge_ca(const struct kube_object *o, struct certificate **out)
{
	struct bytes crt = value_of(o, "ca.crt");
	struct bytes crl = value_of(o, "ca.crl");
	const char *fault;

	if (!crt.p)
		fault = o->kind == KUBE_SECRET ? "it has no ca.crt, or none in base64" : "it has no ca.crt";
	else if (!crl.p && has_key(o, "ca.crl"))
		fault = o->kind == KUBE_SECRET ? "its ca.crl is not in base64" : "its ca.crl is no text";
	else
		fault = trust_read(crt.p, crt.n, crl.p, crl.n, out);
	bytes_fini(&crt);
	bytes_fini(&crl);
	if (*out) {
		char text[400];

		(*out)->of = kube_kind_name(o->kind);
		(*out)->ns = translate_must(strdup(o->ns));
		(*out)->name = translate_must(strdup(o->name));
		certificate_add_name(*out, text, (size_t)snprintf(text, sizeof(text), "%s %.63s/%.253s", (*out)->of, o->ns, o->name));
	}
	return fault;
}

static const char *judge(const struct translation *t, const struct kube_object *o, enum secret_use use)
{
	struct judgement *j = unit_judgement(t, o, use);

	if (!j->is_made)
		j->fault = use == SECRET_CERTIFICATE ? judge_certificate(o, &j->certificate) : judge_ca(o, &j->certificate);
	j->is_made = true;
	return j->fault;
}

static const char *absence_text(struct translation *t, enum kube_kind kind, const char *ns, const char *name, bool *is_pending)
{
	const char *what = kube_kind_name(kind);

	switch (store_absence(t->store, kind, ns, name)) {
	case STORE_PENDING:
		*is_pending = true;
		return model_printf(t->m, "%s %.63s/%.253s is not known yet", what, ns, name);
	case STORE_FORBIDDEN:
		return model_printf(t->m, "Forbidden: permission to list and watch %s %.63s/%.253s was expected", what, ns, name);
	case STORE_BEYOND:
		return model_printf(t->m, "%s %.63s/%.253s is not read: too many Secrets and ConfigMaps are referred to", what, ns, name);
	case STORE_ABSENT:
		break;
	}
	return model_printf(t->m, "%s %.63s/%.253s is not there", what, ns, name);
}

const char *secret_fault(struct translation *t, enum kube_kind kind, const char *ns, const char *name, enum secret_use use,
			 bool *is_pending)
{
	const struct kube_object *o = store_get(t->store, kind, ns, name);
	const char *fault;

	if (!o)
		return absence_text(t, kind, ns, name, is_pending);
	fault = is_usable(t, o) ? judge(t, o, use) : "it is refused for problems of its own";
	return fault ? model_printf(t->m, "%s %.63s/%.253s: %s", kube_kind_name(kind), ns, name, fault) : NULL;
}

static const struct certificate *hold(struct translation *t, enum kube_kind kind, const char *ns, const char *name,
				      enum secret_use use)
{
	const struct kube_object *o = store_get(t->store, kind, ns, name);
	struct judgement *j = o && is_usable(t, o) ? unit_judgement(t, o, use) : NULL;

	if (!j || !j->certificate)
		return NULL;
	model_hold(t->m, j->certificate);
	return j->certificate;
}

const struct certificate *secret_certificate(struct translation *t, const char *ns, const char *name)
{
	return hold(t, KUBE_SECRET, ns, name, SECRET_CERTIFICATE);
}

const struct certificate *secret_trust(struct translation *t, enum kube_kind kind, const char *ns, const char *name)
{
	return hold(t, kind, ns, name, SECRET_CA);
}
