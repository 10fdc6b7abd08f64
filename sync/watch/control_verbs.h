/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What can be asked of a mirror's daemon, as JSON objects. Whoever answers something brings a
 * set of verbs; the daemon chains the sets, the control socket's requests are looked up in them.
 *
 *	static const struct control_verb verbs[] = {{"history", answer_history}};
 *	struct control_verbs set = {.verbs = verbs, .count = 1, .arg = history, .next = more};
 *	r = control_verbs_answer(&set, request, reply);		(the daemon)
 *
 *	AUTO_JSON cJSON *request = control_request("history");
 *	AUTO_JSON cJSON *answer = NULL;
 *	r = control_ask(mountpoint, request, &answer);		(the command)
 */
#pragma once

#include "cache/base/cleanup.h"
#include "cache/base/data/buffer.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline void cleanup_json(cJSON **object)
{
	cJSON_Delete(*object);
}

#define AUTO_JSON __attribute__((cleanup(cleanup_json)))

struct control_verb {
	const char *name;
	/* Fills `answer`, an empty object. A negative return is told as {"error": its words},
	 * unless the verb has put an "error" of its own. On a control thread: may take its
	 * time, but not for ever. */
	int (*run)(void *arg, const cJSON *request, cJSON *answer);
};

struct control_verbs {
	const struct control_verb *verbs;
	size_t count;
	void *arg;
	const struct control_verbs *next;
};

/* Looks up "verb" of the request in all sets and answers. 0 or -ENOMEM. */
int control_verbs_answer(const struct control_verbs *verbs, const char *request,
	struct buffer *reply) WARN_UNUSED;

/* Puts words for people into an answer: what went wrong and what to do. Returns `error`. */
int control_refuse(cJSON *answer, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* {"verb": name}; NULL when out of memory. */
cJSON *control_request(const char *verb);

/* Asks the daemon of `mountpoint`. Failures are logged with a remedy, an answer that is an
 * "error" too (then -EREMOTEIO). *out is the caller's to delete. */
int control_ask(const char *mountpoint, const cJSON *request, cJSON **out) WARN_UNUSED;

/* Prints an answer as it is, for --json. Returns the exit status. */
int control_print(const cJSON *answer);

/* What an answer (or a request) says; a member that is missing or of another type is `otherwise`. */
const char *control_text(const cJSON *object, const char *name, const char *otherwise);
double control_number(const cJSON *object, const char *name, double otherwise);
bool control_is_true(const cJSON *object, const char *name);

/* Adds a time as text (UTC, ISO 8601), null for 0. */
void control_add_time(cJSON *object, const char *name, int64_t real_ns);
