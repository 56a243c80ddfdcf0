/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of two objects comes first where both want the same thing: the one
 * order by age of all that Weir translates.
 */
#ifndef TRANSLATE_AGE_H
#define TRANSLATE_AGE_H

#include <stdint.h>

struct age {
	int64_t created_s; /* creationTimestamp; 0 where absent: such a one (a manifest) counts as the youngest */
	const char *ns, *name;
};

/*
 * Below 0: a is older, or of one age and first by the text "namespace/name" (Gateway API); above 0: b is; 0: they have one
 * name. As text "a-b/x" stands before "a/y", since '-' comes before '/'.
 */
int age_compare(const struct age *a, const struct age *b);

#endif
