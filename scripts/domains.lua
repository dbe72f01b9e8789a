-- Creates domains of a site in bulk, all or none: domains SITE FILE.csv (DOMAIN,alias or DOMAIN,relay or DOMAIN,hold or DOMAIN,smarthost,HOST on
-- each line, - is standard input).
local site, name = arg[1], arg[2]
if not name then error("usage: domains SITE FILE.csv", 0) end
local file = name == "-" and io.stdin or assert(io.open(name))
local domains = GetObject("IIS://LocalHost/SMTPSVC/" .. site .. "/Domain")
local actions = {alias = 16, relay = 1, hold = 514, smarthost = 2}
transaction(function()
  local n = 0
  for line in file:lines() do
    n = n + 1
    line = line:gsub("#.*", "")
    local domain, kind, host = line:match("^%s*([^,%s]+)%s*,%s*(%w+)%s*,?%s*([^,%s]*)%s*$")
    if domain and actions[kind] and (kind == "smarthost") == (host ~= "") then
      local d = domains:Create("IIsSmtpDomain", domain)
      d.RouteAction = actions[kind]
      if host ~= "" then d.RouteActionString = host end
      d:SetInfo()
    elseif line:match("%S") then
      error("line " .. n .. ": is not DOMAIN,KIND: " .. line, 0)
    end
  end
end)
