/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/master/commands.h"

#include "cache/base/cli.h"
#include "cache/base/disk/io.h"
#include "cache/base/log.h"
#include "sync/jobs/policy/policy.h"
#include "sync/master/depot/depot.h"
#include "sync/master/publish/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

static const char help[] =
	"usage: depotfs policy DEPOT --set FILE | --clear | --show [options]\n"
	"\n"
	"Publishes schedules and windows that a channel's mirrors take up with its head, "
	"or\n"
	"shows those that are published. docs/schedules.md has the form of FILE.\n"
	"\n"
	"  --set FILE       check FILE, then make it the channel's policy\n"
	"  --clear          the channel has no policy any more\n"
	"  --show           print it\n"
	"  --channel NAME   the channel (default stable)\n"
	"  --key FILE       the signing key\n"
	"  --key-dir DIR    where NAME.key is (default: as for init)\n";

struct arguments {
	struct publish_options options;
	const char *file;
	bool is_set;
	bool is_clear;
	bool is_show;
};

static int take_option(void *arg, int option)
{
	struct arguments *a = arg;

	if (option == 's')
		a->file = optarg;
	else if (option == 'c')
		a->options.channel = optarg;
	else if (option == 'k')
		a->options.key = optarg;
	else if (option == 'd')
		a->options.key_dir = optarg;
	a->is_set |= option == 's';
	a->is_clear |= option == 'x';
	a->is_show |= option == 'p';
	return 0;
}

/* CLI_GO_ON, or an exit status. */
static int parse(int argc, char **argv, struct arguments *a)
{
	static const struct option options[] = {{"set", required_argument, NULL, 's'},
		{"clear", no_argument, NULL, 'x'}, {"show", no_argument, NULL, 'p'},
		{"channel", required_argument, NULL, 'c'},
		{"key", required_argument, NULL, 'k'},
		{"key-dir", required_argument, NULL, 'd'},
		{"help", no_argument, NULL, 'h'}, {0}};
	int status = cli_options(argc, argv, options, help, take_option, a);

	if (status != CLI_GO_ON)
		return status;
	if (argc - optind != 1)
		return cli_usage_error(argv[0], "name one DEPOT");
	if (a->is_set + a->is_clear + a->is_show != 1)
		return cli_usage_error(
			argv[0], "say one of --set FILE, --clear and --show");
	if (!record_name_is_valid(a->options.channel) ||
		strstr(a->options.channel, ".tmp"))
		return cli_usage_error(
			argv[0], "'%s' is no valid channel name", a->options.channel);
	a->options.depot = argv[optind];
	return CLI_GO_ON;
}

/* Reads FILE and refuses what a mirror could not use. */
static int load(const char *file, struct buffer *out, struct policy *out_policy)
{
	char reason[TEXT_REASON_SIZE];
	int r = io_read_file(AT_FDCWD, file, out);

	if (r == -EFBIG)
		return log_error_errno(r,
			"%s has more than %d bytes, which is the most "
			"for a policy",
			file, POLICY_MAX_BYTES);
	if (r < 0)
		return log_error_errno(r, "cannot read %s: %s", file, log_strerror(r));
	if (!out->len)
		return log_error_errno(
			-EINVAL, "%s is empty; to take a policy away use --clear", file);
	r = policy_parse((const char *)out->data, out->len, out_policy, reason);
	if (r == -EINVAL)
		return log_error_errno(r, "%s: %s", file, reason);
	return r;
}

static int set(const struct arguments *a)
{
	struct buffer text AUTO_BUFFER = BUFFER_INIT(POLICY_MAX_BYTES);
	AUTO_POLICY struct policy policy = {0};
	bool is_changed = false;
	int r = a->is_set ? load(a->file, &text, &policy) : 0;

	if (r == 0)
		r = publish_policy(&a->options, text.data, text.len, &is_changed);
	if (r < 0)
		return r;
	if (!is_changed)
		printf("channel %s %s\n", a->options.channel,
			a->is_set ? "has this policy already" : "has no policy");
	else if (a->is_set)
		printf("channel %s has a new policy: %zu schedules, %zu windows\n",
			a->options.channel, policy.schedule_count, policy.windows_count);
	else
		printf("channel %s has no policy any more\n", a->options.channel);
	return 0;
}

static int show_head(const struct depot *depot, const struct head *head)
{
	struct buffer text AUTO_BUFFER = BUFFER_INIT(POLICY_MAX_BYTES);

	if (!head->policy.bytes) {
		log_info("channel %s has no policy", head->channel);
		return 0;
	}
	int r = depot_policy(depot, &head->policy, &text);

	if (r < 0)
		return log_error_errno(r,
			"the policy of channel %s is missing or damaged (%s); set it "
			"again",
			head->channel, log_strerror(r));
	return fwrite(text.data, 1, text.len, stdout) == text.len ? 0 : -EIO;
}

static int show(const struct arguments *a)
{
	struct depot *depot;
	struct trust trust;
	struct head head;
	int r = depot_open(a->options.depot, &depot);

	if (r < 0)
		return r;
	r = depot_trust(depot, NULL, &trust);
	if (r == 0) {
		r = depot_head(depot, &trust, a->options.channel, &head);
		if (r < 0)
			log_error("cannot use %s/channel/%s: %s", a->options.depot,
				a->options.channel, log_strerror(r));
	}
	if (r == 0)
		r = show_head(depot, &head);
	depot_close(depot);
	return r;
}

int cmd_policy(int argc, char **argv)
{
	struct arguments a = {.options = {.channel = "stable"}};
	int r = parse(argc, argv, &a);

	if (r != CLI_GO_ON)
		return r;
	r = a.is_show ? show(&a) : set(&a);
	return r < 0 || fflush(stdout) ? EXIT_FAILED : EXIT_DONE;
}
