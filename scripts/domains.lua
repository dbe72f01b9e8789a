-- Creates domains of a site in bulk, all or none: domains SITE FILE.csv (DOMAIN,alias or DOMAIN,relay or DOMAIN,hold or DOMAIN,smarthost,HOST on
-- each line, - is standard input).
local site, name = arg[1], arg[2]
if not name then error("usage: domains SITE FILE.csv", 0) end
local file = name == "-" and io.stdin or assert(io.open(name))
local domains = GetObject("IIS://LocalHost/SMTPSVC/" .. site .. "/Domain")
local actions = {alias = 16, relay = 1, hold = 514, smarthost = 2}
local rows = csv.rows(file:read("*a"), "DOMAIN", "KIND", "HOST")
if #rows == 0 then error(name .. ": names no domain", 0) end
transaction(function()
  for _, row in ipairs(rows) do
    local domain, kind, host = row[1], row[2], row[3]
    if domain == "" or not actions[kind] or (kind == "smarthost") ~= (host ~= nil) or #row > 3 then
      error("line " .. row.line .. ": is not DOMAIN,KIND: " .. table.concat(row, ","), 0)
    end
    local d = domains:Create("IIsSmtpDomain", domain)
    d.RouteAction = actions[kind]
    if host then d.RouteActionString = host end
    d:SetInfo()
  end
end)
