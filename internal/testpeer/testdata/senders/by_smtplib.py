# Sends the jobs of a file, one JSON object a line, by Python's smtplib.
import json, smtplib, ssl, sys

unverified = ssl._create_unverified_context()

def auth(s, job):
    s.user, s.password = job["user"], job["password"]
    by = {"PLAIN": s.auth_plain, "LOGIN": s.auth_login, "CRAM-MD5": s.auth_cram_md5}[job["mech"]]
    s.auth(job["mech"], by, initial_response_ok=job["mech"] != "CRAM-MD5")

for line in open(sys.argv[1], encoding="utf-8"):
    job = json.loads(line)
    message = open(job["file"], "rb").read()
    if job["tls"] == "implicit":
        s = smtplib.SMTP_SSL(job["host"], job["port"], "py.test", context=unverified)
    else:
        s = smtplib.SMTP(job["host"], job["port"], "py.test")
    with s:
        s.ehlo()
        if job["tls"] == "starttls":
            s.starttls(context=unverified)
            s.ehlo()
        if job["mech"]:
            auth(s, job)
        options = ["BODY=8BITMIME"] + (["SMTPUTF8"] if job["utf8"] else [])
        refused = s.sendmail(job["from"], job["to"], message, options)
        if refused:
            sys.exit("%s: refused: %s" % (job["id"], refused))
