-- Switches on what needs service version 2: ETRN, TURN, ATRN and more than one
-- site.
local svc = GetObject("IIS://localhost/smtpsvc")
svc:Put("SmtpServiceVersion", 2)
svc:SetInfo()
