-- Holds the mail for a domain of site 2 and lets one account take it by TURN.
local domains = GetObject("IIS://LocalHost/SMTPSVC/2/domain")
local d = domains:Create("IIsSmtpDomain", "test.com")
d.KeyType = "IIsSmtpDomain"
d:Put("AuthTURNList", "testserver")
d:Put("RouteAction", 514)
d:SetInfo()
