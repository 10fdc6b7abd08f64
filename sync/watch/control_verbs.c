/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/watch/control_verbs.h"

#include "cache/base/cli.h"
#include "cache/base/log.h"
#include "cache/base/threads/clock.h"
#include "sync/watch/control.h"
#include "sync/watch/json_text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct control_verb *find_verb(
	const struct control_verbs *set, const char *name, void **out_arg)
{
	for (; set; set = set->next)
		for (size_t i = 0; i < set->count; i++)
			if (strcmp(set->verbs[i].name, name) == 0) {
				*out_arg = set->arg;
				return &set->verbs[i];
			}
	return NULL;
}

int control_refuse(cJSON *answer, int error, const char *format, ...)
{
	char words[512];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(words, sizeof(words), format, args);
	va_end(args);
	cJSON_DeleteItemFromObjectCaseSensitive(answer, "error");
	json_add_text(answer, "error", words);
	return error;
}

int control_verbs_answer(
	const struct control_verbs *verbs, const char *request, struct buffer *reply)
{
	AUTO_JSON cJSON *asked = cJSON_Parse(request);
	AUTO_JSON cJSON *answer = cJSON_CreateObject();
	void *arg = NULL;
	const struct control_verb *verb =
		find_verb(verbs, control_text(asked, "verb", ""), &arg);

	if (!answer)
		return -ENOMEM;
	int r = verb ? verb->run(arg, asked, answer)
		     : control_refuse(
			       answer, -ENOSYS, "this daemon does not know the request");

	if (r < 0 && !cJSON_HasObjectItem(answer, "error"))
		(void)control_refuse(answer, r, "%s", log_strerror(r));
	char *text = cJSON_Print(answer);

	r = text ? buffer_add(reply, text, strlen(text)) : -ENOMEM;
	cJSON_free(text);
	return r;
}

cJSON *control_request(const char *verb)
{
	AUTO_JSON cJSON *request = cJSON_CreateObject();

	return request && cJSON_AddStringToObject(request, "verb", verb)
		       ? TAKE_PTR(request)
		       : NULL;
}

static int call(const char *mountpoint, const cJSON *request, cJSON **out)
{
	AUTO_BUFFER struct buffer reply = BUFFER_INIT(CONTROL_REPLY_MAX);
	char *text = request ? cJSON_PrintUnformatted(request) : NULL;
	int r = text ? control_call(mountpoint, text, &reply) : -ENOMEM;

	cJSON_free(text);
	if (r == -ENOENT)
		return log_error_errno(r, "no depot is mounted on %s", mountpoint);
	if (r < 0)
		return log_error_errno(r, "the daemon of %s does not answer: %s",
			mountpoint, log_strerror(r));
	*out = cJSON_ParseWithLength((const char *)reply.data, reply.len);
	if (!cJSON_IsObject(*out)) {
		cJSON_Delete(*out);
		return log_error_errno(-EBADMSG,
			"the daemon of %s answered what is no JSON", mountpoint);
	}
	return 0;
}

int control_ask(const char *mountpoint, const cJSON *request, cJSON **out)
{
	AUTO_JSON cJSON *answer = NULL;
	int r = call(mountpoint, request, &answer);

	if (r < 0)
		return r;
	const char *error = control_text(answer, "error", NULL);

	if (error)
		return log_error_errno(-EREMOTEIO, "%s", error);
	*out = TAKE_PTR(answer);
	return 0;
}

int control_print(const cJSON *answer)
{
	char *text = cJSON_Print(answer);
	int r = text ? puts(text) : -1;

	cJSON_free(text);
	return r < 0 || fflush(stdout) ? EXIT_FAILED : EXIT_DONE;
}

const char *control_text(const cJSON *object, const char *name, const char *otherwise)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

	return cJSON_IsString(item) ? item->valuestring : otherwise;
}

double control_number(const cJSON *object, const char *name, double otherwise)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

	return cJSON_IsNumber(item) ? item->valuedouble : otherwise;
}

bool control_is_true(const cJSON *object, const char *name)
{
	return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(object, name));
}

void control_add_time(cJSON *object, const char *name, int64_t real_ns)
{
	char text[CLOCK_TEXT_SIZE];

	if (real_ns == 0) {
		cJSON_AddNullToObject(object, name);
		return;
	}
	clock_format(real_ns, text);
	cJSON_AddStringToObject(object, name, text);
}
